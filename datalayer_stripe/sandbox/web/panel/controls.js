/** Client of the sandbox's JSON API. */

export async function report(name, query = {}) {
  return answerOf(await fetch(`/sandbox/${name}?${new URLSearchParams(query)}`));
}

export async function control(name, values = {}) {
  const headers = { "Content-Type": "application/json" };
  const body = JSON.stringify(values);
  return answerOf(await fetch(`/sandbox/${name}`, { method: "POST", headers, body }));
}

async function answerOf(response) {
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error.message);
  return answer;
}
