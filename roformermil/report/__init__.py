"""Tables -> what people look at: plots, heat maps, pages."""
