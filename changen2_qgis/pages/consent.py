"""The question about the licence of a model's weights, asked once before the first use."""

from __future__ import annotations

from typing import Any

from qgis.PyQt.QtWidgets import QMessageBox, QWidget


def ask_consent(card: dict[str, Any], parent: QWidget) -> bool:
    """Show the licence in plain words and wait for an answer; Enter and Escape do not agree.

    Args:
        card: of the model, as the backend's `models` tells it.
        parent: the window that waits.

    Returns:
        Whether the user agrees.
    """
    question = QMessageBox(parent)
    question.setObjectName("changen2_consent")
    question.setIcon(QMessageBox.Icon.Question)
    question.setWindowTitle("Licence of the weights")
    question.setText(f"<b>{card.get('title') or card['name']}</b> may be used under conditions. Do you agree to them?")
    question.setInformativeText(str(card.get("licence_text") or card.get("licence")))
    agree = question.addButton("I agree", QMessageBox.ButtonRole.AcceptRole)
    cancel = question.addButton(QMessageBox.StandardButton.Cancel)
    question.setDefaultButton(cancel)
    question.setEscapeButton(cancel)
    question.exec()
    return question.clickedButton() is agree
