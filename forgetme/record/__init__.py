"""What everything is about: the sample, masks, images and the Entangled score."""
