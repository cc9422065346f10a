"""What is shown: the page of a sweep and the page of its images, made without TensorFlow.

`report` and `explore` are the pages, made of `content`, `settings`, `summaries` and `image_statistics`. Pictures are
drawn in `plots_sweep`, `plots_images` and `plots_scores`, which share `plots`; TensorBoard shows the same. `page` hides
the markup.
"""
