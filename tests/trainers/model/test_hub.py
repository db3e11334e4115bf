import os
import shutil
import subprocess
import sys
import traceback

import pytest
from hub import TOKEN
from huggingface_hub import constants, snapshot_download

from trainers.config import DataConfig
from trainers.errors import InputError
from trainers.model.classifier import load
from trainers.model.hub import check_push, push, without_folders

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=.*:DeprecationWarning")  # the client's own habit


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def received(hub, name="alice/stars"):
    return {name: content for name, content in hub.files[name].items() if name != ".gitattributes"}


def refusal(act, *arguments, **more):
    with pytest.raises(InputError) as caught:
        act(*arguments, **more)
    whole = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in whole
    return str(caught.value)


def pushed_in_vain(folder, *, public=False):
    before = files_of(folder)
    said = refusal(push, folder, "alice/stars", public=public)
    assert files_of(folder) == before
    return said


def test_the_hub_receives_the_folder_byte_for_byte_in_one_commit(hub, tiny_model):
    assert push(tiny_model, "alice/stars", public=False) == f"{hub.address}/alice/stars"
    assert received(hub) == files_of(tiny_model)
    assert list(hub.large.values()) == [(tiny_model / "model.safetensors").read_bytes()]
    assert hub.num_commits == 1


def test_a_repository_is_private_unless_it_shall_be_public(hub, tiny_model):
    push(tiny_model, "alice/stars", public=False)
    push(tiny_model, "alice/open", public=True)
    assert hub.private == {"alice/stars": True, "alice/open": False}


def test_a_model_fetched_from_the_hub_is_the_one_that_was_sent(hub, tiny_model, tmp_path):
    push(tiny_model, "alice/stars", public=False)
    fetched = tmp_path / "model"
    snapshot_download("alice/stars", local_dir=fetched, endpoint=hub.address)
    texts = ["a warm, moving story", "dull"]
    assert load(fetched).predict(texts) == load(tiny_model).predict(texts)


def test_the_token_is_sent_to_the_hub_and_not_to_signed_addresses(hub, tiny_model):
    push(tiny_model, "alice/stars", public=False)
    sent = {path: headers.get("authorization") for _, path, headers in hub.seen if path.startswith("/signed")}
    assert list(sent.values()) == [None]


def test_a_stored_login_is_taken(hub, tiny_model, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    check_push("alice/stars", public=False)
    push(tiny_model, "alice/stars", public=False)
    assert received(hub) == files_of(tiny_model)


@pytest.mark.parametrize(
    "name", ["stars", "alice/stars/1", "alice/", "/stars", "alice/st ars", "alice/a--b", "é/a"]
)
def test_a_name_that_no_hub_takes_is_refused(name):
    assert refusal(check_push, name, public=False) == (
        "--push must be OWNER/NAME of at most 96 letters, digits, '-', '_' and '.', neither '--' nor '..' in it, got "
        f"{name!r}; change it"
    )


def test_public_without_push_is_refused():
    assert refusal(check_push, None, public=True) == (
        "--public needs --push OWNER/NAME, the model that everybody may read; give both"
    )
    check_push(None, public=False)


def test_without_a_token_no_request_is_made(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    assert refusal(check_push, "alice/stars", public=False) == (
        "--push needs a token that may write, got none; log in with hf auth login, or set HF_TOKEN"
    )
    assert hub.seen == []


def test_a_token_that_no_header_takes_is_not_quoted(hub, monkeypatch):
    for token in ("hf_ü", "hf_a b", "hf_\x01"):
        monkeypatch.setenv("HF_TOKEN", token)
        said = refusal(check_push, "alice/stars", public=False)
        assert "--push needs a token of plain characters without spaces, got one with others" in said
        assert token not in said
    assert hub.seen == []


def test_offline_is_said_to_be_so(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert refusal(check_push, "alice/stars", public=False) == (
        "--push needs the network, which HF_HUB_OFFLINE forbids; unset it"
    )
    assert hub.seen == []


def test_a_token_that_the_hub_does_not_know_is_refused_before_a_fit(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    said = refusal(check_push, "alice/stars", public=False)
    assert said.startswith(f"--push needs a token that the hub accepts, got 401 from {hub.address}")
    assert said.endswith("; log in with hf auth login, or set HF_TOKEN, then try again")
    assert "hf_wrong" not in said


def test_a_repository_of_somebody_else_is_refused(hub, tiny_model):
    said = refusal(push, tiny_model, "bob/stars", public=False)
    assert said == (
        f"--push needs a token that may write to bob, got 403 from {hub.address} (You don't have the rights to create a model "
        "under bob); take an owner and a token with write access, then send the saved model without another fit: "
        f"hf upload bob/stars {tiny_model} --private"
    )


def test_a_repository_that_holds_something_is_left_as_it_is(hub, tiny_model):
    hub.create("alice/stars", **{"README.md": b"mine"})
    said = refusal(check_push, "alice/stars", public=False)
    assert said == (
        "--push must name a repository that is new or empty, got alice/stars, which holds something; give another name, or "
        "replace what is there: hf upload alice/stars FOLDER/model --private"
    )
    assert pushed_in_vain(tiny_model) == said.replace("FOLDER/model", str(tiny_model))
    assert received(hub) == {"README.md": b"mine"}


def test_a_repository_that_appears_meanwhile_is_left_as_it_is(hub, tiny_model):
    hub.refuse["POST /api/repos/create"] = 409, "You already created this model repo"
    assert "got alice/stars, which holds something; give another name" in pushed_in_vain(tiny_model)


@pytest.mark.parametrize(
    ("private", "said"),
    [
        (
            False,
            "one that is private, got alice/stars, which is public on {}; give --public, or change that there",
        ),
        (
            True,
            "one that is public, got alice/stars, which is private on {}; leave --public out, or change that there",
        ),
    ],
)
def test_an_empty_repository_with_other_readers_is_refused(hub, private, said):
    hub.create("alice/stars", private=private)
    assert said.format(hub.address) in refusal(check_push, "alice/stars", public=private)


@pytest.mark.parametrize(
    "cut", ["POST /api/models/alice/stars/commit", "PUT /signed", "POST /alice/stars.git"]
)
def test_a_connection_cut_midway_loses_nothing_and_the_next_push_goes_on(hub, tiny_model, cut, caplog):
    hub.refuse[cut] = None
    said = pushed_in_vain(tiny_model)
    assert said.startswith(f"--push needs the hub {hub.address} to take the model, got ")
    assert (
        "check the connection, then send the saved model without another fit: hf upload alice/stars" in said
    )
    assert "secret" not in caplog.text + said
    assert received(hub) == {}
    hub.refuse.clear()
    push(tiny_model, "alice/stars", public=False)
    assert received(hub) == files_of(tiny_model)


def test_what_the_hub_says_is_shown_on_one_line_and_without_the_token(hub, tiny_model):
    hub.refuse["POST /api/repos/create"] = 402, f"pay\nfirst, {TOKEN}\x1b[2J"
    assert (
        f"to take the model, got 402 from {hub.address} (pay first, ***\\x1b[2J); see to what it says"
        in pushed_in_vain(tiny_model)
    )


def test_a_hub_that_is_overloaded_is_to_be_waited_for(hub):
    hub.refuse["GET /api/whoami"] = 503, "busy"
    said = refusal(check_push, "alice/stars", public=False)
    assert said.endswith(f"got 503 from {hub.address} (busy); wait a little, then try again")


def test_an_answer_that_is_no_hubs_is_refused(hub, tiny_model):
    hub.refuse["POST /api/repos/create"] = 200, "<html>"
    assert f"--push needs the hub {hub.address} to take the model, got KeyError: 'url'" in pushed_in_vain(
        tiny_model
    )


def test_a_card_whose_metadata_the_hub_refuses_is_told(hub, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "README.md").write_text("---\nmodel-index: 3\n---\n")
    said = pushed_in_vain(folder)
    assert f"to take the model, got 400 from {hub.address} (Invalid `model_index`" in said
    assert "; see to what it says, then send the saved model" in said


def test_a_hub_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", "http://me:secret@127.0.0.1:9")
    said = refusal(check_push, "alice/stars", public=False)
    assert said.startswith("--push needs the hub http://127.0.0.1:9 to take the model, got ConnectError: ")
    assert said.endswith("; check the connection, then try again")


@pytest.mark.slow
def test_hf_endpoint_names_the_hub(hub, tiny_model):
    script = "import sys; from pathlib import Path; from trainers.model import push; print(push(Path(sys.argv[1]), 'alice/stars', public=False))"
    done = subprocess.run(
        [sys.executable, "-c", script, tiny_model],
        env=os.environ | {"HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{hub.address}/alice/stars\n"
    assert TOKEN not in done.stderr
    assert received(hub) == files_of(tiny_model)


def test_a_configuration_for_others_names_no_folder_of_this_machine(make_config, tmp_path):
    encoder = tmp_path / "encoder"
    encoder.mkdir()
    data = DataConfig.model_validate(
        {"source": str(tmp_path / "a.csv"), "test_source": str(tmp_path / "b.csv"), "max_length": 24}
    )
    config = make_config(encoder={"name": str(encoder)}).model_copy(update={"data": data})
    plain = without_folders(config)
    assert (plain.data.source, plain.data.test_source, plain.encoder.name) == ("a.csv", "b.csv", "encoder")
    assert plain.data.validation_source is None
    assert plain.data.max_length == 24
    packaged = make_config(encoder={"name": "owner/name"})
    assert without_folders(packaged) == packaged
