// In the dialog of Stripe.js, the Escape key and the embedding page can reject the payment.
const reject = () => document.getElementById("test-source-fail-3ds").click();

if (parent !== window) {
  window.addEventListener("message", ({ source, data }) => {
    if (source === parent && data === "fail") reject();
  });
  document.addEventListener("keydown", ({ key }) => {
    if (key === "Escape") reject();
  });
}
