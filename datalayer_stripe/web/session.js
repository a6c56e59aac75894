/**
 * Authentication: a bearer token that Datalayer's other pages of this origin store in localStorage,
 * or the cookie of the server that serves the page.
 */

const KEY = "@datalayer/iam:token";

// Used in place of a token: scripts cannot read the server's cookie.
const COOKIE = "cookie";
const isByCookie = document.documentElement.dataset.identity === COOKIE;

/** Return the token, or null if nobody is signed in. It may be stored raw or as a JSON string. */
export function readToken() {
  if (isByCookie) return COOKIE;
  let raw;
  try {
    raw = localStorage.getItem(KEY) ?? "";
  } catch {
    return null; // storage is disabled
  }
  const token = unquoted(raw);
  return /^[\x21-\x7e]+$/.test(token) ? token : null;
}

/** Return the options of `fetch` that authenticate the request. */
export function withCredentials(token, headers) {
  if (!isByCookie) {
    return { credentials: "omit", headers: { ...headers, Authorization: `Bearer ${token}` } };
  }
  // Another site can make the browser send its cookies, but it cannot read this XSRF cookie.
  const [, xsrf = ""] = document.cookie.match(/(?:^|; )_xsrf=([^;]*)/) ?? [];
  return { credentials: "same-origin", headers: { ...headers, "X-XSRFToken": xsrf } };
}

/** Return the account of a token. The token is not verified; this only compares accounts. */
export function accountOf(token) {
  try {
    const payload = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const { sub } = JSON.parse(atob(payload));
    return String(sub.uid ?? sub);
  } catch {
    return token;
  }
}

/** Call `listener` with the new token when it changes, also if another tab changes it. */
export function onTokenChange(listener) {
  let known = readToken();
  const check = () => {
    const token = readToken();
    if (token === known) return;
    known = token;
    listener(token);
  };
  window.addEventListener("storage", check);
  window.addEventListener("focus", check);
  window.addEventListener("pageshow", check);
  document.addEventListener("visibilitychange", check);
}

function unquoted(raw) {
  try {
    const value = JSON.parse(raw);
    return typeof value === "string" ? value : "";
  } catch {
    return raw;
  }
}
