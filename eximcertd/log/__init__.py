"""Where rejections come from: a followed file, the journal, old logs."""
