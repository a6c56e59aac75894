// Report the end of the authentication to the dialog of Stripe.js. The message has no data, so any
// embedding page may receive it.
if (parent !== window) parent.postMessage("authenticated", "*");
