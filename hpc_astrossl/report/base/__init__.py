"""What all sections share: run folders read, arrays, statistics, tables and drawing."""
