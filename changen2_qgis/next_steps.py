"""What to do in QGIS about an error of the backend, whose own next step is for the terminal."""

from __future__ import annotations

IN_QGIS = {
    # an option of the terminal: what it is called in QGIS
    "--overwrite": "“Replace results in the output folder”",
    "--resume": "“Continue”",
}

NEXT_STEPS = {
    # code of the backend's error: the next step, in place of the backend's
    "consent_needed": "Agree to its licence on the Models page of the Changen2 dock, where Download and Import file "
    "ask for it.",
    "not_installed": "Download it, or import its file, on the Models page of the Changen2 dock.",
    "unknown_model": "The Models page of the Changen2 dock lists all models; those with weights here can be named.",
    "offline": "Download goes on where it broke off; without internet, import a file that you got elsewhere.",
    "not_found": "The authors may have moved it. A file that you got in another way can be imported.",
    "no_device": "Choose auto, or a device that is here.",
}
