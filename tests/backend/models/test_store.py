"""Installing published models: what is refused, that nothing is left half-installed, consent and pins."""

import errno
import json
import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from changen2.errors import Cancelled, InputError, JobError
from changen2.jobs.models import list_models
from changen2.models import store
from changen2.models.catalogue import CATALOGUE
from changen2.models.rsdit import RSDIT_SIZES, RSDiT, RSDiTConfig

NAME = "rsdit-b2-oem"


@pytest.fixture(autouse=True)
def folder(models_folder, monkeypatch):
    """A models' folder of the test's own, and a small network in place of the published one."""
    monkeypatch.setitem(RSDIT_SIZES, "b2", RSDiTConfig(depth=1, hidden=16, heads=2))
    return models_folder


@pytest.fixture
def agreed():
    store.give_consent(CATALOGUE[NAME].card)


@pytest.fixture
def state():
    torch.manual_seed(0)
    return RSDiT(RSDIT_SIZES["b2"]).state_dict()


@pytest.fixture
def file(tmp_path, state):
    torch.save(state, tmp_path / "published.pth")
    return tmp_path / "published.pth"


def nothing_installed(folder):
    return not [path for path in folder.rglob("*") if path.suffix in (".safetensors", ".part") or NAME in path.name]


def refused(path, code):
    with pytest.raises(InputError) as caught:
        store.install(NAME, path, "test")
    assert caught.value.code == code
    assert caught.value.hint
    return caught.value


def test_a_pth_becomes_safetensors_with_a_card(agreed, file, folder, state):
    card = store.install(NAME, file, "by hand")
    assert sorted(path.name for path in folder.iterdir()) == [
        "consent.json", "pins.json", f"{NAME}.json", f"{NAME}.safetensors",
    ]  # fmt: skip
    assert store.installed_card(NAME) == card == store.store_cards()[NAME]
    assert card.installed and card.sha256 == store.sha256(folder / f"{NAME}.safetensors")
    assert card.source_sha256 == store.sha256(file)
    from safetensors.torch import load_file

    loaded = load_file(folder / f"{NAME}.safetensors")
    assert loaded.keys() == state.keys() and all(torch.equal(loaded[name], state[name]) for name in state)
    store.verify(NAME)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {f"module.{name}": value for name, value in state.items()},
    ],
)
def test_checkpoints_of_training_scripts_are_understood(agreed, tmp_path, state, wrap):
    torch.save(wrap(state), tmp_path / "wrapped.pth")
    assert store.install(NAME, tmp_path / "wrapped.pth", "test").installed


def test_a_suffix_may_be_in_capitals(agreed, tmp_path, state):
    save_file(state, tmp_path / "W.SAFETENSORS")
    assert store.install(NAME, tmp_path / "W.SAFETENSORS", "test").installed


@pytest.mark.parametrize("bytes_told", ["while the file is checked", "while what was written is checked"])
def test_a_cancelled_installation_leaves_nothing(agreed, file, folder, bytes_told):
    def cancel(done, total):
        written = [path for path in folder.iterdir() if path.name.endswith(".safetensors.part")]
        if bool(written) == ("written" in bytes_told):
            raise Cancelled

    with pytest.raises(Cancelled):
        store.install(NAME, file, "test", cancel)
    assert nothing_installed(folder)


def test_what_a_killed_installation_left_is_removed_by_the_next_look_at_the_models(folder):
    folder.mkdir()
    left, growing = folder / f".{NAME}-1.safetensors.part", folder / f".{NAME}-2.safetensors.part"
    for part in (left, growing):
        part.write_bytes(b"half")
    os.utime(left, (0, time.time() - store.ABANDONED_S - 1))
    list_models()
    assert not left.exists()
    assert growing.exists(), "another process may be at it"


def test_nothing_is_installed_without_consent(file, folder):
    error = refused(file, "consent_needed")
    assert "commercial" in error.message and "--accept-licence" in error.hint
    assert nothing_installed(folder)


def test_consent_is_given_once_for_all_models_of_a_licence(agreed):
    assert store.has_consent(CATALOGUE["changestar-vitb-s1c1"].card)
    assert store.record("consent.json").keys() == {"CC-BY-NC-SA-4.0"}


def test_consent_to_one_licence_is_none_to_another(agreed):
    assert not store.has_consent(CATALOGUE[NAME].card.model_copy(update={"licence": "another"}))


def test_a_free_licence_needs_no_consent():
    assert store.has_consent(CATALOGUE["autoencoder-kl"].card)


class Payload:
    """Unpickling this makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_does_not_run(agreed, tmp_path, folder, state, legacy):
    path = tmp_path / "evil.pth"
    torch.save({**state, "extra": Payload(tmp_path / "ran")}, path, _use_new_zipfile_serialization=not legacy)
    error = refused(path, "unsafe_file")
    assert "program code" in error.message
    assert not (tmp_path / "ran").exists() and nothing_installed(folder)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.9, 0.5, 0.001])
def test_a_truncated_file_is_refused(agreed, tmp_path, folder, state, suffix, share):
    path = tmp_path / f"whole{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert "cut short" in refused(path, "unreadable").message
    assert nothing_installed(folder)


@pytest.mark.parametrize(
    "content, said",
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "Git LFS pointer"),
    ],
)
def test_what_downloads_leave_behind_is_named(agreed, tmp_path, content, said):
    (tmp_path / "odd.pth").write_bytes(content)
    assert said in refused(tmp_path / "odd.pth", "unreadable").message


def test_weights_of_another_model_are_refused(agreed, tmp_path, folder):
    torch.save({"quant_conv.bias": torch.zeros(8)}, tmp_path / "other.pth")
    assert "quant_conv" in refused(tmp_path / "other.pth", "wrong_weights").message
    assert nothing_installed(folder)


def test_a_missing_file(agreed, tmp_path):
    refused(tmp_path / "absent.pth", "missing_file")


def test_a_disk_without_room_is_found_before_writing(agreed, file, folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(JobError, match="MB free") as caught:
        store.install(NAME, file, "test")
    assert caught.value.code == "disk_full" and "CHANGEN2_MODELS" in caught.value.hint
    assert nothing_installed(folder)


def test_a_disk_that_fills_while_writing_leaves_nothing(agreed, file, folder, monkeypatch):
    def half_written(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", half_written)
    with pytest.raises(JobError) as caught:
        store.install(NAME, file, "test")
    assert caught.value.code == "disk_full"
    assert nothing_installed(folder)


def test_a_failed_attempt_leaves_the_installed_model_alone(agreed, file, folder, monkeypatch):
    before = store.install(NAME, file, "first")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    with pytest.raises(JobError):
        store.install(NAME, file, "second")
    assert store.verify(NAME) == before


def test_the_card_of_an_older_installation_learns_which_classes_are_unchanged(folder):
    name = "changestar-vitb-s1c5"
    store.write_model(CATALOGUE[name].card, {"weight": torch.zeros(1)})
    path = folder / f"{name}.json"
    card = json.loads(path.read_text())
    assert card.pop("unchanged_classes") == [0, 1]
    path.write_text(json.dumps(card))
    assert store.installed_card(name).unchanged_classes == [0, 1]
    path.write_text(json.dumps(card | {"unchanged_classes": [0]}))
    assert store.installed_card(name).unchanged_classes == [0], "what a card tells holds"


def test_a_tampered_model_is_found(agreed, file, folder):
    store.install(NAME, file, "test")
    weights = folder / f"{NAME}.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(InputError, match="is not what was installed") as caught:
        store.verify(NAME)
    assert caught.value.code == "tampered" and NAME in caught.value.hint


def test_the_same_weights_installed_again_keep_what_was_measured_of_them(agreed, file):
    store.install(NAME, file, "test")
    assert not hasattr(store.installed_card(NAME), "calibration")
    store.amend_card(NAME, calibration={"platt": {"a": 0.5, "b": 0.1}})
    assert store.install(NAME, file, "again").calibration == {"platt": {"a": 0.5, "b": 0.1}}


def test_what_was_measured_is_not_kept_for_other_weights(agreed, file, folder, state):
    store.install(NAME, file, "test")
    store.amend_card(NAME, calibration={"platt": {"a": 0.5, "b": 0.1}})
    torch.save({name: value + 1 for name, value in state.items()}, file)
    (folder / "pins.json").unlink()  # as the message about another file says
    assert not hasattr(store.install(NAME, file, "other"), "calibration")


def test_another_file_under_the_same_name_is_refused(agreed, file, tmp_path, state):
    store.install(NAME, file, "test")
    torch.save({name: value + 1 for name, value in state.items()}, tmp_path / "newer.pth")
    assert "pins.json" in refused(tmp_path / "newer.pth", "changed").hint
    store.verify(NAME)


def test_not_installed(folder):
    with pytest.raises(InputError, match="is not installed") as caught:
        store.verify(NAME)
    assert f"changen2 models download {NAME}" in caught.value.hint


def test_damaged_pins_are_named(agreed, folder, file):
    (folder / "pins.json").write_text("{")
    refused(file, "unreadable")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff", b"[]"])
def test_a_damaged_consent_is_none_and_is_written_anew(folder, content, caplog):
    folder.mkdir()
    (folder / "consent.json").write_bytes(content)
    card = CATALOGUE[NAME].card
    assert not store.has_consent(card)
    assert list_models(), "the backend starts all the same"
    assert caplog.text.count("counts as no consent") == (content != b"[]")
    store.give_consent(card)
    assert store.has_consent(card) and store.record("consent.json").keys() == {card.licence}


def test_the_folder_of_each_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("CHANGEN2_MODELS")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    for platform in ("linux", "win32"):
        monkeypatch.setattr("sys.platform", platform)
        assert store.models_folder() == tmp_path / "changen2" / "models"
    monkeypatch.setattr("sys.platform", "darwin")
    assert store.models_folder().parts[-4:] == ("Library", "Application Support", "changen2", "models")


@pytest.fixture
def own_model():
    """A model that was trained here."""
    given = {"name": "solar", "embedded": False}
    return store.write_model(CATALOGUE[NAME].card.model_copy(update=given), {"weight": torch.zeros(1)})


@pytest.mark.parametrize("content", [b"{", b"\xff", None])
def test_a_card_that_cannot_be_read_leaves_the_others_and_is_not_written_over(
    own_model, folder, content, caplog, monkeypatch
):
    path = folder / "solar.json"
    if content is not None:
        path.write_bytes(content)
    else:  # one that only its owner may read; root may all the same, so it is stood in for

        def refuse(self, *args, **kwargs):
            if self == path:
                raise PermissionError(errno.EACCES, "Permission denied", str(self))
            return read_text(self, *args, **kwargs)

        read_text = Path.read_text
        monkeypatch.setattr(Path, "read_text", refuse)
    assert not store.own_cards() and list_models()
    assert f"{path} cannot be read" in caplog.text
    with pytest.raises(InputError) as caught:
        store.check_name("solar")
    assert caught.value.code == "name_taken"


def test_a_folder_that_may_not_be_looked_into_leaves_the_embedded_models(folder, monkeypatch):
    def refuse(self):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_file", refuse)
    assert [model["name"] for model in list_models() if model["installed"]]


def test_a_model_whose_files_were_renamed_goes_by_their_name(own_model, folder):
    for suffix in ("json", "safetensors"):
        (folder / f"solar.{suffix}").rename(folder / f"ponds.{suffix}")
    (card,) = store.own_cards()
    assert card.name == "ponds" and store.weights_file(card.name).is_file()


def test_reported_digests_are_compared_but_not_enforced(agreed, file, monkeypatch, caplog):
    from dataclasses import replace

    monkeypatch.setitem(CATALOGUE, NAME, replace(CATALOGUE[NAME], reported_sha256="0" * 64))
    store.install(NAME, file, "test")
    assert "could not verify" in caplog.text
    assert json.loads((store.models_folder() / "pins.json").read_text())[NAME] == store.sha256(file)
