/**
 * Attach a shadow root with its own styles to an element and return it.
 *
 * The style sheet is created by script because a page's Content-Security-Policy does not block it.
 */
export function attachStyledRoot(host, css) {
  const root = host.attachShadow({ mode: "open" });
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  root.adoptedStyleSheets = [sheet];
  return root;
}

/** Create an element with properties and children. */
export function createElement(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}
