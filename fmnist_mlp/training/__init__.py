"""How one trial computes: images, model, epochs as compiled programs, scores, record.

The only folder, with `inference`, that imports Keras; it runs in workers.
"""
