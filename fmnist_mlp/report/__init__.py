"""What is shown: the page of a sweep and the page of its images, made from records without TensorFlow."""
