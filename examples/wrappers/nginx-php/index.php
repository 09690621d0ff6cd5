<?php echo "PHP ", 6 * 7, "\n";
