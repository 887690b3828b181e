"""The sequential latent-variable model and its presets."""
