"""New disputes and their balance transactions.

https://docs.stripe.com/api/disputes/object
https://docs.stripe.com/api/balance_transactions/object
"""

from .objects import Object

_DAY = 24 * 3600
_DAYS_TO_RESPOND = 7

_FEE = 1500  # in the currency's minor unit

EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)


def dispute(dispute_id: str, charge: Object, amount: int, reason: str, now: int) -> Object:
    """Return a new inquiry about a charge, before any money is withdrawn."""
    card = charge["payment_method_details"]["card"]
    return {
        "id": dispute_id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": now,
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {**dict.fromkeys(EVIDENCE), "enhanced_evidence": {}},
        "evidence_details": {
            "due_by": now + _DAYS_TO_RESPOND * _DAY,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": True,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": {
            "card": {
                "brand": card["brand"],
                "case_type": "inquiry",
                "network": card["network"],
                "network_reason_code": "10.4" if reason == "fraudulent" else "13.1",
            },
            "type": "card",
        },
        "reason": reason,
        "status": "warning_needs_response",
    }


def withdrawal(transaction_id: str, dispute: Object, now: int) -> Object:
    """Return the balance transaction that withdraws a dispute's amount and a fee."""
    description = f"Chargeback withdrawal for {dispute['charge']}"
    return _transaction(transaction_id, dispute, -dispute["amount"], _FEE, description, now)


def reinstatement(transaction_id: str, dispute: Object, now: int) -> Object:
    """Return the balance transaction that returns a dispute's amount and the fee."""
    description = f"Chargeback reversal for {dispute['charge']}"
    return _transaction(transaction_id, dispute, dispute["amount"], -_FEE, description, now)


def _transaction(
    transaction_id: str, dispute: Object, amount: int, fee: int, description: str, now: int
) -> Object:
    fee_detail = {
        "amount": fee,
        "application": None,
        "currency": dispute["currency"],
        "description": "Dispute fee",
        "type": "stripe_fee",
    }
    return {
        "id": transaction_id,
        "object": "balance_transaction",
        "amount": amount,
        "available_on": now,
        "balance_type": "payments",
        "created": now,
        "currency": dispute["currency"],
        "description": description,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": [fee_detail],
        "net": amount - fee,
        "reporting_category": "dispute" if amount < 0 else "dispute_reversal",
        "source": dispute["id"],
        "status": "available",
        "type": "adjustment",
    }
