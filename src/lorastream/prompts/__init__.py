"""Prompts: learnt tokens and prefixes, chosen for each image by what the frozen backbone sees in it."""

from lorastream.prompts.by_task import TaskPrompts
from lorastream.prompts.components import PromptComponents
from lorastream.prompts.kinds import load_prompts
from lorastream.prompts.pool import PromptPool
from lorastream.prompts.prompts import Chosen, Prompts
from lorastream.prompts.routed import RoutedPrompts

__all__ = ["Chosen", "PromptComponents", "PromptPool", "Prompts", "RoutedPrompts", "TaskPrompts", "load_prompts"]
