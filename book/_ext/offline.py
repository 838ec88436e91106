"""Leave Thebe out: its loader names a server, and stands on each page even where it is switched off."""


def _without_thebe(app, pagename, templatename, context, doctree):
    def about_thebe(script):
        return "thebe" in f"{script.filename} {script.attributes.get('body')}".lower()

    context["script_files"] = [script for script in context["script_files"] if not about_thebe(script)]


def setup(app):
    app.connect("html-page-context", _without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
