// In the dialog of Stripe.js, the page around this one may ask to refuse, and so does Escape.
const refuse = () => document.getElementById("test-source-fail-3ds").click();

if (parent !== window) {
  window.addEventListener("message", ({ source, data }) => {
    if (source === parent && data === "fail") refuse();
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") refuse();
  });
}
