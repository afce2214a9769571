def page(results):
    return "<html></html>"
