"""The model manager's jobs."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from changen2.errors import Cancelled, InputError, JobError
from changen2.jobs import models
from changen2.models import hub, registry, store
from changen2.models.rsdit import RSDIT_SIZES, RSDiT, RSDiTConfig

NAME = "rsdit-b2-oem"


@pytest.fixture(autouse=True)
def folder(models_folder, monkeypatch):
    monkeypatch.setitem(RSDIT_SIZES, "b2", RSDiTConfig(depth=1, hidden=16, heads=2))
    return models_folder


@pytest.fixture
def file(tmp_path):
    torch.save(RSDiT(RSDIT_SIZES["b2"]).state_dict(), tmp_path / "published.pth")
    return tmp_path / "published.pth"


@pytest.fixture
def fetched(file, monkeypatch):
    """A download that copies the file."""

    def fetch(model, folder, on_bytes):
        on_bytes(5, 10)
        target = folder / "weights.pth"
        target.write_bytes(file.read_bytes())
        return target

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.setattr(store, "refuse_full_disk", lambda folder, needed: None)


def test_the_list_says_what_is_here_and_what_could_be():
    listed = {model["name"]: model for model in models.list_models()}
    assert listed["tiny"]["installed"] and listed["tiny"]["embedded"]
    published = listed["changestar-vitb-s1c1"]
    assert not published["installed"] and not published["consent"] and published["noncommercial"]
    assert "paid work for a client is commercial" in published["licence_text"]
    assert published["source"] == "https://huggingface.co/EVER-Z/Changen2-ChangeStar1x256"
    assert [entry["name"] for entry in listed["changestar-vitb-s9c1"]["classes"]][-1] == "building"


def test_info_of_an_unknown_model_names_the_known():
    with pytest.raises(InputError, match="changestar-vitb-s1c1") as caught:
        models.info("absent")
    assert caught.value.code == "unknown_model"


def test_import_asks_for_consent_once(file):
    with pytest.raises(InputError) as caught:
        models.import_(NAME, file)
    assert caught.value.code == "consent_needed"
    assert models.import_(NAME, file, accept_licence=True)["installed"]
    assert models.import_(NAME, file)["origin"] == str(file)
    assert models.info(NAME)["consent"]


def test_download_installs_and_clears_up(fetched, folder):
    told = []
    about = models.download(NAME, accept_licence=True, on_progress=told.append)
    assert about["installed"] and about["origin"] == "https://huggingface.co/EVER-Z/Changen2_RSDiT-B-2-OEM-256"
    assert {progress.stage for progress in told} == {"download", "check"}
    assert not (folder / "downloads" / NAME).exists()


def test_download_keeps_what_it_has_when_cancelled(fetched, folder):
    with pytest.raises(Cancelled):
        models.download(NAME, accept_licence=True, is_cancelled=lambda: True)
    assert (folder / "downloads" / NAME).is_dir() and not models.info(NAME)["installed"]


def test_two_downloads_at_once_fetch_once(fetched, monkeypatch):
    began, waits, fetches = threading.Event(), threading.Event(), []
    copy = hub.fetch

    def fetch(model, folder, on_bytes):
        fetches.append(model.card.name)
        began.set()
        assert waits.wait(60)
        return copy(model, folder, on_bytes)

    def told(progress):
        assert progress.stage == "wait"
        waits.set()

    monkeypatch.setattr(hub, "fetch", fetch)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(models.download, NAME, accept_licence=True)
        assert began.wait(60)
        second = models.download(NAME, on_progress=told)
    assert second == first.result() and second["installed"]
    assert fetches == [NAME]


def test_a_download_that_waits_can_be_cancelled_and_says_why_it_waits(fetched, folder, caplog):
    (folder / "downloads").mkdir(parents=True)
    with FileLock(folder / "downloads" / f"{NAME}.lock"), pytest.raises(Cancelled):
        models.download(NAME, accept_licence=True, is_cancelled=lambda: True)
    assert f"Another process is downloading {NAME}; waiting for it." in caplog.text
    assert models.download(NAME)["installed"], "whoever held the lock is gone without having installed it"


def test_an_installed_model_is_downloaded_again_where_asked(fetched, folder):
    models.download(NAME, accept_licence=True)
    (folder / f"{NAME}.safetensors").write_bytes(b"damaged")
    models.download(NAME)
    assert models.verify(NAME)


def test_download_finds_a_full_disk_beforehand(monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(JobError) as caught:
        models.download(NAME, accept_licence=True)
    assert caught.value.code == "disk_full"


def test_a_download_that_goes_on_needs_no_room_for_what_is_here(fetched, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(store, "refuse_full_disk", lambda folder, needed: asked.append(needed))
    size = store.CATALOGUE[NAME].card.size_bytes
    parts = folder / "downloads" / NAME
    parts.mkdir(parents=True)
    with (parts / "weights.pth.0.part").open("wb") as part:
        part.truncate(size - 1000)
    models.download(NAME, accept_licence=True)
    assert asked[0] == size + 1000


def test_verify_reads_the_file_again(file, folder):
    models.import_(NAME, file, accept_licence=True)
    told = []
    assert models.verify(NAME, on_progress=told.append)["name"] == NAME
    assert told[-1].stage == "verify"
    (folder / f"{NAME}.safetensors").write_bytes(b"x")
    with pytest.raises(InputError) as caught:
        models.verify(NAME)
    assert caught.value.code == "tampered"


def test_verify_of_an_embedded_model():
    told = []
    assert models.verify("tiny-landcover", on_progress=told.append)["embedded"]
    assert [progress.stage for progress in told if progress.done == progress.total] == ["verify"] * 2, (
        "its encoder, too"
    )


def test_verify_reads_a_model_of_ones_own_also_where_it_was_loaded(folder):
    card = registry.card_of("tiny").model_copy(update={"name": "mine", "embedded": False})
    store.write_model(card, load_file(registry.weights_path(registry.card_of("tiny"))))
    registry.load_model(registry.card_of("mine"))
    weights = folder / "mine.safetensors"
    content, before = bytearray(weights.read_bytes()), weights.stat()
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(InputError) as caught:
        models.verify("mine")
    assert caught.value.code == "tampered" and "train the model again" in caught.value.hint
    with pytest.raises(Cancelled):
        models.verify("mine", is_cancelled=lambda: True)
