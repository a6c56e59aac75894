/** Waiting, and no longer than somebody cares. */

/** Resolves after `milliseconds`; rejects when `signal` is aborted. */
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

/** Resolves while the page can be seen, at once or when that comes; rejects as `pause` does. */
export function untilVisible(signal) {
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

/** Run `task`. That it ends because of `signal` is no error. */
export async function unlessAborted(signal, task) {
  try {
    await task();
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** Between half of it and all of it, so that many pages do not come back at the same moment. */
export function jitter(milliseconds) {
  return milliseconds * (0.5 + Math.random() / 2);
}
