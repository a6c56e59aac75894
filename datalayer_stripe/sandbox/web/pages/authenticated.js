// Tells the dialog of Stripe.js that it is over, whoever has embedded it; nothing more is told.
if (parent !== window) parent.postMessage("authenticated", "*");
