"""How one trial computes: images, model, epochs as compiled programs, scores, record.

`trial` is the recipe, `trainer` the interface of whatever trains; `networks` and `baseline` are the two that there are.
The only folder, with `inference`, that imports Keras; it runs in workers.
"""
