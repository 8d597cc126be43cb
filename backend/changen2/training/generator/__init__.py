"""Training of the embedded generator: crops, autoencoder, latents, denoiser."""
