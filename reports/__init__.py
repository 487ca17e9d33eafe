"""From recorded trials to the paper's tables and figures; imports no torch and no ray."""
