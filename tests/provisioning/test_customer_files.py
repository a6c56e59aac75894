"""Files of links and of accounts: every line is used, or refused with its number."""

import pytest

from datalayer_stripe.errors import InvalidRequest
from datalayer_stripe.provisioning import customer_files
from datalayer_stripe.provisioning.customer_files import read_accounts, read_links

HEADER = "account_uid,customer_id"


def refusals(text: str) -> dict[int | None, str | None]:
    """Return the reasons for which lines of a file of links are refused, by line."""
    _, refused = read_links(text.splitlines())
    return {one.line: one.reason for one in refused}


def test_links_are_read_with_their_lines_in_any_order_of_columns() -> None:
    links, refused = read_links(["customer_id, account_uid\n", "\n", 'cus_1, "alice"\n'])
    assert [(link.account_uid, link.customer_id, link.line) for link in links] == [
        ("alice", "cus_1", 3)
    ]
    assert refused == []


@pytest.mark.parametrize(
    "header", ["alice,cus_1", "account_uid", "account_uid,customer_id,email", "uid,customer_id"]
)
def test_file_of_links_with_another_header_is_refused(header: str) -> None:
    with pytest.raises(InvalidRequest, match=r"Line 1 must be the header account_uid,customer_id"):
        read_links([header, "alice,cus_1"])
    with pytest.raises(InvalidRequest):
        read_links([])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("alice", "customer_id is not the id of a customer"),
        (",cus_1", "account_uid is not the uid of an account"),
        ("two words,cus_1", "account_uid is not the uid of an account"),
        ("alice,sub_1", "customer_id is not the id of a customer"),
        ("alice,cus_$ne", "customer_id is not the id of a customer"),
        ("alice@example.com,cus_1", "an e-mail address does not identify an account"),
        ("alice,cus_1,more", "has 3 columns instead of 2"),
        ('"alice,cus_1', "is not CSV"),
        ("ali\N{REPLACEMENT CHARACTER}ce,cus_1", "is not UTF-8"),
    ],
)
def test_bad_line_is_refused_by_its_number_and_the_others_are_used(line: str, reason: str) -> None:
    links, refused = read_links([HEADER, "before,cus_8", line, "after,cus_9"])
    assert [link.account_uid for link in links] == ["before", "after"]
    [refusal] = refused
    assert (refusal.line, (refusal.reason or "")[: len(reason)]) == (3, reason)
    assert "example.com" not in str(refusal), "no address in the output"


def test_contradictory_lines_are_all_refused() -> None:
    lines = ["alice,cus_1", "alice,cus_2", "bob,cus_3", "carol,cus_3", "dave,cus_4", "dave,cus_4"]
    assert refusals("\n".join([HEADER, *lines])) == {
        2: "several customers for the account: cus_1, cus_2",
        3: "several customers for the account: cus_1, cus_2",
        4: "several accounts for the customer: bob, carol",
        5: "several accounts for the customer: bob, carol",
        7: "repeats line 6",
    }


def test_accounts_are_read_with_and_without_a_header() -> None:
    accounts, refused = read_accounts(["alice", "bob,bob@example.com,Bob B.", "carol,,Carol"])
    shown = [(one.account_uid, one.email, one.name) for one in accounts]
    assert shown == [
        ("alice", None, None),
        ("bob", "bob@example.com", "Bob B."),
        ("carol", None, "Carol"),
    ]
    assert refused == []
    accounts, _ = read_accounts(["name,account_uid", "Alice,alice"])
    assert [(one.account_uid, one.name) for one in accounts] == [("alice", "Alice")]
    assert read_accounts([]) == ([], [])


def test_bad_accounts_are_refused_without_repeating_personal_data() -> None:
    accounts, refused = read_accounts(
        ["two words", "alice,nobody", f"bob,,{'b' * 257}", "carol", "carol", "dave,,D,D", '"erin']
    )
    assert [one.account_uid for one in accounts] == ["carol"]
    assert {one.line: one.reason for one in refused} == {
        1: "account_uid is not the uid of an account",
        2: "email is not an e-mail address",
        3: "name has more than 256 characters",
        5: "repeats the account of line 4",
        6: "has 4 columns instead of 3",
        7: "is not CSV",
    }
    assert "nobody" not in str(refused)


def test_addresses_and_names_that_cannot_be_printed_are_refused() -> None:
    lines = ["alice,,Al\x1b[31mice", "bob,\x01@example.com", "carol,,Carol\u202e"]
    accounts, refused = read_accounts(lines)
    assert accounts == []
    reason = "email or name has characters that cannot be printed"
    assert [one.reason for one in refused] == [reason] * 3


def test_file_of_accounts_with_an_unknown_column_is_refused() -> None:
    with pytest.raises(
        InvalidRequest, match=r"Line 1 may only have the columns account_uid, email"
    ):
        read_accounts(["account_uid,emial", "alice,alice@example.com"])


def test_file_with_too_many_lines_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(customer_files, "MAX_LINES", 2)
    with pytest.raises(InvalidRequest, match="more than 2 lines"):
        read_links([HEADER, "alice,cus_1", "bob,cus_2"])
