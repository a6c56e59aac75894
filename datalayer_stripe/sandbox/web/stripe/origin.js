// The iframes, the API and the panel have the same origin as this script.
export const ORIGIN = new URL(document.currentScript.src).origin;
