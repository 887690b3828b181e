"""What a fitted model is asked: scores, forecasts, imputations, latents."""
