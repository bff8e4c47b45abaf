"""The task engine: one upload in, a clean CSV, its refused rows and a manifest out."""
