"""What keeps a home: releases and what they pin, cleaning, taking videos down, damage."""
