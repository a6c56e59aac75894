// How a UI of another origin pays: the service's PaymentIntent, and Stripe's card element.
// docs.stripe.com/js/payment_intents/confirm_card_payment

async function loadStripe(url) {
  const script = document.createElement("script");
  script.src = url;
  const loaded = new Promise((resolve, reject) => {
    script.addEventListener("load", resolve);
    script.addEventListener("error", reject);
  });
  document.head.append(script);
  await loaded;
}

export async function offer({ api, token, priceId, stripeJs }) {
  await loadStripe(stripeJs);
  const answer = await fetch(`${api}/stripe/v1/topup/payment-intent`, {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ price_id: priceId }),
  });
  const intent = await answer.json();
  const stripe = window.Stripe(intent.publishable_key);
  const card = stripe.elements().create("card");
  card.mount("#card");

  document.querySelector("#form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const { paymentIntent, error } = await stripe.confirmCardPayment(intent.client_secret, {
      payment_method: { card, billing_details: { name: "Ada" } },
    });
    document.querySelector("#result").textContent = error ? error.message : paymentIntent.status;
  });
}
