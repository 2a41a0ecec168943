"""Where the bytes of clips are: an S3 bucket that is trusted with nothing it was not seen to do."""
