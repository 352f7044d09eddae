"""People on the Team tab: accounts with their roles, and the access tokens of programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import gradio as gr
from pydantic import Field

from forgetme.curate.review import Review
from forgetme.store import Store
from forgetme.store.passwords import MAX_PASSWORD
from forgetme.store.people import ROLES, Origin, Role
from forgetme.ui import markup
from forgetme.ui.acts import Acts
from forgetme.ui.who import Door, Refusal

Json = dict[str, Any]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Label = Annotated[str, Field(min_length=1, max_length=64)]
Password = Annotated[str, Field(max_length=MAX_PASSWORD)]
NO_ACCOUNTS = (
    "There are no accounts: only this machine reaches the page, and nobody signs in. "
    "Add the first lead, and everybody signs in from then on."
)
ABOUT_TOKENS = (
    "A program that sends `Authorization: Bearer TOKEN` acts in the name of an account, with its "
    "role. The token is shown once."
)


def people(review: Review) -> list[Json]:
    """Lists the accounts, without passwords."""
    return [asdict(one) for one in review.store.people.list()]


def change_person(
    review: Review,
    name: Name,
    role: Role | None = None,
    active: bool | None = None,
    password: Password | None = None,
) -> list[Json]:
    """Gives an account another role or password, disables or enables it; what is left out stays."""
    kept = review.store.people
    if name == review.by and (active is False or role not in (None, "lead")):
        raise Refusal(400, "bad", "You cannot take this from yourself; ask another lead.")
    before = kept.get(name)
    if role is not None and (before is None or role != before.role):
        kept.set_role(name, role)
    if password:
        kept.set_password(name, password)
    if active is not None and (before is None or active != before.active):
        (kept.enable if active else kept.disable)(name)
    return people(review)


def add_person_to(door: Door):  # noqa: ANN201 (a function)
    """Returns the act that makes accounts, as this door has them."""

    def add_person(
        review: Review,
        name: Name,
        role: Role,
        password: Password | None = None,
        origin: Origin = "local",
    ) -> Json:
        """Makes an account: with a password, or for whom signs in at Hugging Face."""
        if origin == "huggingface" and door.hub is None:
            raise Refusal(400, "bad", "People sign in with Hugging Face only on a Space.")
        if door.is_open() and role != "lead":
            words = "The first account must be a lead's: from then on everybody signs in."
            raise Refusal(400, "bad", words)
        password = None if origin == "huggingface" else password
        return asdict(review.store.people.add(name, role, password, origin=origin))

    return add_person


def add_token(review: Review, name: Name, label: Label) -> Json:
    """Makes an access token, with which a program acts in an account's name; told this once."""
    return {"name": name, "label": label, "token": review.store.tokens.add(name, label)}


def tokens(review: Review) -> list[Json]:
    """Lists the access tokens by account and label, without the secrets."""
    return [asdict(one) for one in review.store.tokens.list()]


def revoke_token(review: Review, name: Name, label: Label) -> list[Json]:
    """Lets an access token open nothing any more."""
    review.store.tokens.revoke(name, label)
    return tokens(review)


# ------------------------------ the column


def build(acts: Acts) -> tuple[list[Any], Any, list[Any]]:
    """Lays out the column.

    Returns:
        The parts that show the store, a function of the store that returns what they show, and
        the events after which they are shown anew.
    """
    gr.Markdown("## People")
    accounts = gr.Dataframe(headers=["Name", "Role", "Signs in"], interactive=False,
                            show_label=False, buttons=[], elem_id="fm-people")  # fmt: skip
    no_accounts = markup.html(visible=False)
    with gr.Accordion("Add somebody", open=False):
        name = gr.Textbox(label="Name", max_length=64, elem_id="fm-person-name")
        role = gr.Radio(list(ROLES), value="curator", label="Role",
                        elem_id="fm-person-role")  # fmt: skip
        origin = gr.Dropdown(
            [("with a password", "local"), ("with Hugging Face", "huggingface")],
            value="local", label="Signs in", visible=acts.door.hub is not None,
        )  # fmt: skip
        password = gr.Textbox(label="Password", info="8 characters or more",
                              type="password", elem_id="fm-person-password")  # fmt: skip
        add = gr.Button("add", variant="primary", elem_id="fm-person-add")
    with gr.Accordion("Change an account", open=False):
        account = gr.Dropdown([], label="Name", elem_id="fm-account")
        new_role = gr.Radio(list(ROLES), label="Role", elem_id="fm-account-role")
        active = gr.Checkbox(label="may sign in", elem_id="fm-account-active")
        new_password = gr.Textbox(label="New password", info="empty: it stays",
                                  type="password")  # fmt: skip
        change = gr.Button("change", elem_id="fm-account-change")
    with gr.Accordion("Access tokens", open=False):
        markup.html(value=markup.lines([ABOUT_TOKENS]))
        listed = gr.Dataframe(headers=["Name", "Token", "Since"], interactive=False,
                              show_label=False, buttons=[], elem_id="fm-tokens")  # fmt: skip
        owner = gr.Dropdown([], label="Acts as", elem_id="fm-token-name")
        label = gr.Textbox(label="What for", placeholder="such as nightly export", max_length=64,
                           elem_id="fm-token-label")  # fmt: skip
        with gr.Row():
            revoke = gr.Button("revoke", elem_id="fm-token-revoke")
            make = gr.Button("make", variant="primary", elem_id="fm-token-make")
        made = gr.Textbox(label="Copy it: it is never shown again", visible=False,
                          interactive=False, buttons=["copy"], elem_id="fm-token")  # fmt: skip

    def show(store: Store) -> dict[Any, Any]:
        everyone, kept = store.people.list(), store.tokens.list()
        names = [one.name for one in everyone]
        rows = [[one.person, one.label, one.added_at[:10]] for one in kept]
        return {
            accounts: gr.Dataframe([_account(one) for one in everyone], visible=bool(everyone)),
            no_accounts: gr.HTML(markup.note(NO_ACCOUNTS), visible=not everyone),
            account: gr.Dropdown(names),
            owner: gr.Dropdown(names),
            listed: gr.Dataframe(rows, visible=bool(rows)),
        }

    def show_account(review: Review, name: str | None) -> tuple:
        found = review.store.people.get(name) if name else None
        return (found.role, found.active) if found else (None, False)

    def add_one(review: Review, name: str, role: Role, password: str, origin: Origin) -> tuple:
        made = add_person(review, name.strip(), role, password, origin)
        gr.Info(f"{made['name']} can sign in as {made['role']}.", title="Added")
        return "", ""

    def change_one(
        review: Review, name: str | None, role: Role | None, active: bool, password: str
    ) -> str:
        change_person(review, _chosen(name), role, active, password or None)
        gr.Info(f"{name} is changed.", title="Changed")
        return ""

    def make_one(review: Review, name: str | None, label: str) -> tuple:
        told = add_token(review, _chosen(name), label.strip())
        return gr.Textbox(told["token"], visible=True), ""

    def revoke_one(review: Review, name: str | None, label: str) -> tuple:
        revoke_token(review, _chosen(name), label.strip())
        gr.Info(f"{label} opens nothing any more.", title="Revoked")
        return gr.Textbox("", visible=False), ""

    def pick(line: gr.SelectData) -> tuple:
        name, label, *_ = getattr(line, "row_value", None) or ["", ""]
        return name or None, label

    add_person = add_person_to(acts.door)
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    done = []
    for event, act, inputs, outputs in (
        (add.click, add_one, [name, role, password, origin], [name, password]),
        (change.click, change_one, [account, new_role, active, new_password], new_password),
        (make.click, make_one, [owner, label], [made, label]),
        (revoke.click, revoke_one, [owner, label], [made, label]),
    ):
        done.append(event(acts.by("lead", act), inputs, outputs, **quiet))
    account.change(acts.by("lead", show_account), account, [new_role, active], **quiet)
    listed.select(acts.by("lead", pick), None, [owner, label], **quiet)
    for act in (add_person, change_person, add_token, revoke_token):
        gr.api(acts.by("lead", act), api_name=act.__name__)
    for act in (people, tokens):
        gr.api(acts.by("lead", act, reads=True), api_name=act.__name__)
    return [accounts, no_accounts, account, owner, listed], show, done


def _chosen(name: str | None) -> str:
    if not name:
        raise Refusal(400, "bad", "Choose an account first.")
    return name


def _account(one) -> list[str]:  # noqa: ANN001 (an account of the store)
    how = "with Hugging Face" if one.origin == "huggingface" else "with a password"
    return [one.name, one.role, how if one.active else "disabled"]
