;;; drive-dap-mode.el --- Drives dap-mode as a person does  -*- lexical-binding: t -*-

;;; Commentary:

;; Called with a source file, a line, the expression to look at, and the form that `stead debug` prints for Emacs. Sets a breakpoint,
;; evaluates that form, stops, reads the locals, evaluates, steps, continues to the next stop and disconnects; prints what it saw
;; as one line of JSON. Everything that waits has a limit.

;;; Code:

(setq backtrace-on-error-noninteractive nil)
(require 'dap-mode)
(require 'dap-ui)
(require 'json)

(defvar stead-wait-seconds 60)

(defun stead-await (what holds)
  "Wait until HOLDS gives something, which is answered; fail naming WHAT."
  (let ((end (+ (float-time) stead-wait-seconds)) found)
    (while (not (setq found (funcall holds)))
      (when (> (float-time) end) (error "Waited too long for %s" what))
      (accept-process-output nil 0.02))
    found))

(defun stead-stopped ()
  "Wait until the program stands and its innermost frame is known, which is answered."
  (stead-await "a stop"
               (lambda ()
                 (let ((session (dap--cur-session)))
                   (and session
                        (dap--debug-session-thread-id session)
                        (dap--debug-session-active-frame session))))))

(defun stead-go-on (how)
  "Go on by the command HOW, and answer the frame of the next stop."
  (let ((session (dap--cur-session)))
    (funcall how session)
    (setf (dap--debug-session-active-frame session) nil)
    (stead-stopped)))

(defun stead-locals (frame)
  "The names of the variables that FRAME has."
  (let* ((session (dap--cur-session))
         (scopes (gethash "scopes" (dap-request session "scopes" :frameId (gethash "id" frame)))))
    (apply #'append
           (mapcar (lambda (scope)
                     (let ((held (dap-request session "variables"
                                              :variablesReference (gethash "variablesReference" scope))))
                       (mapcar (lambda (variable) (gethash "name" variable)) (gethash "variables" held))))
                   (append (seq-take scopes 2) nil)))))

(defun stead-evaluated (expression)
  "What `dap-eval' shows for EXPRESSION."
  (let (shown)
    (cl-letf (((symbol-function 'dap-overlays--display-interactive-eval-result)
               (lambda (value &rest _) (setq shown value))))
      (dap-eval expression)
      (stead-await "a value" (lambda () shown)))))

(defun stead-drive (file line expression form)
  "Look at EXPRESSION on LINE of FILE in the program that FORM attaches to."
  (let ((directory (make-temp-file "stead-emacs-" t)))
    (unwind-protect
        (let ((dap-breakpoints-file (expand-file-name "breakpoints" directory))
              (lsp-session-file (expand-file-name "session" directory))
              (dap-auto-configure-features nil)
              (enable-local-variables nil))
          (find-file file)
          (goto-char (point-min))
          (forward-line (1- line))
          (dap-breakpoint-add)
          (eval form t)
          (let* ((session (dap--cur-session))
                 (first (stead-stopped))
                 (locals (stead-locals first))
                 (value (stead-evaluated expression))
                 (stepped (stead-go-on #'dap-next))
                 (again (stead-go-on (lambda (it) (dap-continue it (dap--debug-session-thread-id it)))))
                 (later (stead-evaluated expression)))
            (dap-disconnect session)
            (stead-await "the end" (lambda () (not (process-live-p (dap--debug-session-proc session)))))
            (princ (json-encode `((stopped . ,(gethash "line" first))
                                  (locals . ,(apply #'vector locals))
                                  (value . ,value)
                                  (stepped . ,(gethash "line" stepped))
                                  (again . ,(gethash "line" again))
                                  (later . ,later))))
            (princ "\n")))
      (delete-directory directory t))))

(let ((words command-line-args-left))
  (setq command-line-args-left nil)
  (stead-drive (nth 0 words) (string-to-number (nth 1 words)) (nth 2 words) (read (nth 3 words))))

;;; drive-dap-mode.el ends here
