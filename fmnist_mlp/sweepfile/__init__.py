"""What to try: the text of a sweep file becomes a frozen, validated `Sweep` and the list of its trials.

Knows layers with exact parameters and FLOPs without Keras, and what makes two trials the same. Reads no image.
"""
