/** The page's appearance options: https://docs.stripe.com/elements/appearance-api */

const VARIABLES = [
  "borderRadius",
  "colorBackground",
  "colorDanger",
  "colorPrimary",
  "colorText",
  "colorTextPlaceholder",
  "colorTextSecondary",
  "fontFamily",
  "fontSizeBase",
  "spacingUnit",
];
const rules = new CSSStyleSheet();
document.adoptedStyleSheets = [rules];

export function applyAppearance({ theme = "stripe", variables = {}, rules: ruleOptions = {} }) {
  const root = document.documentElement;
  root.dataset.theme = theme;
  for (const name of VARIABLES) {
    if (variables[name]) root.style.setProperty(`--${name}`, variables[name]);
    else root.style.removeProperty(`--${name}`);
  }
  rules.replaceSync("");
  for (const [selector, declarations] of Object.entries(ruleOptions)) {
    addRule(selector, declarations);
  }
}

/** Add a rule. Only class selectors are allowed, as in the Appearance API. */
function addRule(selector, declarations) {
  if (!/^\.[\w-]+(:[\w-]+)*$/.test(selector)) return;
  const rule = rules.cssRules[rules.insertRule(`${selector} {}`)];
  Object.assign(rule.style, declarations);
}
