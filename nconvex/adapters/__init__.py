"""Landscapes made from what others wrote: functions, and modules of other libraries."""
