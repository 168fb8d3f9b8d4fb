"""The course as nbgrader sees it. Read by every nbgrader command that is given in this folder, and by grade.py."""

c = get_config()  # noqa: F821  nbgrader defines it

c.CourseDirectory.course_id = "mixtures"
# What students send stays as it came, wherever it lies: grade.py marks copies, and these are their folder.
c.CourseDirectory.submitted_directory = "copies"

# A cell that runs longer than this, in seconds, is stopped and earns nothing; the cells after it run on.
# grade.py gives the cells that only import and load three times as much.
c.Execute.timeout = 100
c.Execute.interrupt_on_timeout = True

c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\nraise NotImplementedError()"}
