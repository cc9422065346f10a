"""Figures of merit, from labels and predictions alone; numpy only where a trial needs them.

All are counted over images, never averaged over batches: a short last batch would weigh too much.
"""

import numpy as np


def accuracy(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of images whose highest score is their label's.

    Args:
        labels: integers `(n,)`.
        scores: probabilities or logits `(n, num_classes)`; of equal scores the first class counts.
    """
    return float(np.mean(scores.argmax(axis=1) == labels))


def cross_entropy(labels: np.ndarray, logits: np.ndarray) -> float:
    """Mean of -log softmax(logits)[label] in nats, in float64: probabilities rounded to zero would make it infinite.

    Args:
        labels: integers `(n,)`.
        logits: `(n, num_classes)`.
    """
    logits = logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    log_normaliser = np.log(np.exp(logits).sum(axis=1))
    return float(np.mean(log_normaliser - logits[np.arange(len(labels)), labels]))
