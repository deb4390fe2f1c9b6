input("Hello, world! Press Enter. ")
