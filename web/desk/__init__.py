"""What producers work with: forms read and refused with a sentence, uploads received, values for the pages."""
