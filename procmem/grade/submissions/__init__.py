"""What is handed in: archives opened, files placed, built things left out, contents named."""
