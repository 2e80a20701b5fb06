"""From section `guidance` of a config to what steers a sample: conditioning is a transform of the score, made once.

`classes` steers towards a class, whatever else is done; `task` is what is done with given images.
"""

from scorejax.experiment.steering.by_class import Classes, classes, of_task, suffix, title
from scorejax.experiment.steering.restorations import Restore
from scorejax.experiment.steering.task import Task
from scorejax.experiment.steering.tasks import TASKS, task

__all__ = ["TASKS", "Classes", "Restore", "Task", "classes", "of_task", "suffix", "task", "title"]
