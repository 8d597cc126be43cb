"""Reports that say, with pictures and figures, whether what the models make holds."""
