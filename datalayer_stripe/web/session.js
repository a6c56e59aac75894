/**
 * Who is signed in: by the bearer token, which Datalayer's other pages of this origin keep in
 * localStorage, or by the cookie of the server that the page is a part of.
 */

const KEY = "@datalayer/iam:token";

// The server alone can read its cookie: this stands for whoever it says.
const COOKIE = "cookie";
const isByCookie = document.documentElement.dataset.identity === COOKIE;

/** The token, or null where nobody is signed in. It is kept raw or as a JSON string. */
export function readToken() {
  if (isByCookie) return COOKIE;
  let raw;
  try {
    raw = localStorage.getItem(KEY) ?? "";
  } catch {
    return null; // storage is switched off
  }
  const token = unquoted(raw);
  return /^[\x21-\x7e]+$/.test(token) ? token : null;
}

/** The options of `fetch` that say who asks. */
export function withIdentity(token, headers) {
  if (!isByCookie) {
    return { credentials: "omit", headers: { ...headers, Authorization: `Bearer ${token}` } };
  }
  // Another site can make the browser send its cookies, but it cannot read this one.
  const [, xsrf = ""] = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/) ?? [];
  return { credentials: "same-origin", headers: { ...headers, "X-XSRFToken": xsrf } };
}

/** Whose token it is. Not verified: it only tells one account's token from another's. */
export function accountOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { sub } = JSON.parse(atob(payload));
    return String(sub.uid ?? sub);
  } catch {
    return token;
  }
}

/** Call `listener` when the token may be another one: other tabs sign in and out, too. */
export function onTokenChange(listener) {
  let known = readToken();
  const look = () => {
    const token = readToken();
    if (token === known) return;
    known = token;
    listener(token);
  };
  window.addEventListener("storage", look);
  window.addEventListener("focus", look);
  window.addEventListener("pageshow", look);
  document.addEventListener("visibilitychange", look);
}

function unquoted(raw) {
  try {
    const value = JSON.parse(raw);
    return typeof value === "string" ? value : "";
  } catch {
    return raw;
  }
}
