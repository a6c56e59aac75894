/** Pauses that end when an AbortSignal is aborted. */

/** Resolve after `milliseconds`. Rejects when `signal` is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal.addEventListener("abort", stop, { once: true });
  });
}

/** Resolve as soon as the page is visible. Rejects when `signal` is aborted. */
export function waitUntilVisible(signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    if (!document.hidden) return resolve();
    const done = new AbortController();
    const end = (settle) => () => {
      if (document.hidden && !signal.aborted) return;
      done.abort();
      settle(signal.reason);
    };
    document.addEventListener("visibilitychange", end(resolve), { signal: done.signal });
    signal.addEventListener("abort", end(reject), { signal: done.signal });
    return undefined;
  });
}

/** Run `task`. Ignore its error if `signal` is aborted. */
export async function ignoreAbort(signal, task) {
  try {
    await task();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Return a random time between half and all of `milliseconds`, so that pages do not reconnect
 * simultaneously. */
export function jitter(milliseconds) {
  return milliseconds * (0.5 + Math.random() / 2);
}
