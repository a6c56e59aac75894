// Where this script comes from is where its iframes, its API and its panel are.
export const ORIGIN = new URL(document.currentScript.src).origin;
