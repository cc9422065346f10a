"""What one does with a model: pictures, predictions, exports, a page to try it."""
