"""The sources of rejections: a followed file, the journal, old logs."""
