"""Is a number what it should be, or better than another?"""
